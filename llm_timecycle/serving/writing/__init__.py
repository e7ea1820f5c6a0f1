"""The engine side: the batch, its thread, and each text as it grows. No HTTP here."""
