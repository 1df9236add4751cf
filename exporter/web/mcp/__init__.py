"""The same answers for language models: tools over the Model Context Protocol, each answer short and exact."""
