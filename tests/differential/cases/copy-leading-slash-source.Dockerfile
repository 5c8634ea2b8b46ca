FROM scratch
COPY /a.txt /dir/x.txt /to/
