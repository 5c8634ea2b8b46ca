FROM diff-base
CMD one
CMD ["two"]
