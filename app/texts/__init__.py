"""Read texts as their writers mean them: answers of models, and what people paste into fields."""
