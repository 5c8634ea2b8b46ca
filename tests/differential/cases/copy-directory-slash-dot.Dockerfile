FROM scratch
COPY dir/. /to/
