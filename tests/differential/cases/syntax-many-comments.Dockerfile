# one

# two
FROM scratch
# three
  # four
COPY a.txt \
# five
  /
# six
