"""What a comparison shows: a live table or plain lines while it runs, and what came out."""
