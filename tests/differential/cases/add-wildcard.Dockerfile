FROM scratch
ADD *.txt /to/
