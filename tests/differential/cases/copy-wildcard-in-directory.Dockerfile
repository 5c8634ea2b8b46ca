FROM scratch
COPY dir/*.md dir/s* /picked/
