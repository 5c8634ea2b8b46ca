FROM scratch
COPY *.txt /texts/
