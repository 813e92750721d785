"""The UCloud protocol: a request becomes an Action, its result becomes a response. It does not depend on images."""
