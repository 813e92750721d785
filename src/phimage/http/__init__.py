"""HTTP as every path of the server speaks it: ASGI messages, request bodies, responses, conditions and background tasks.

The gateway, uploads and delivery are built on it. It imports nothing of phimage but its errors.
"""
