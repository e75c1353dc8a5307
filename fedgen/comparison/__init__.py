"""Arms side by side: requested, trained, watched and finished."""
