FROM scratch
COPY ./dir/./sub/../x.txt /to/
