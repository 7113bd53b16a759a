"""Side-by-side measurements that users run: `adverb bench …`. Comparisons with other libraries are in benchmarks/."""
