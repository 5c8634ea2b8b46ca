FROM scratch
COPY a.txt /new/name.txt
