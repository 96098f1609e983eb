"""Supabase Realtime, as its clients see it: channels of Phoenix over a websocket."""
