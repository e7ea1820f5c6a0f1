"""One result in many forms: terminal, HTML, charts, Mermaid, JSON. Computes nothing."""
