"""Routes for programs: JSON below `/api/v1` and `/v2`, one module a noun, each with a `router`."""
