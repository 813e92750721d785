"""The console: pages for people in a browser, which call the same Actions as every other client."""
