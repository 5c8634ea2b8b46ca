FROM scratch
COPY dir /1/2
COPY dir/sub /1
