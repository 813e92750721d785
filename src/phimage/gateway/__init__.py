"""The UCloud protocol: how a request becomes an Action and an answer becomes bytes. Nothing here knows what an image is."""
