"""Large texts: measured in processes, sampled for the vocabulary, and encoded shard by shard."""
