FROM scratch
COPY a.txt \
  b.txt /to/
ENV A=1 B="2 3"
