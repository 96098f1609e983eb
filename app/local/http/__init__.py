"""What the local stand-ins for services that speak HTTP have in common."""
