"""POST /v1/chat/completions, for runs trained on dialogues: a template around completions."""
