from adverb.cli import main

main()
