FROM scratch
COPY d*/*.txt /to/
