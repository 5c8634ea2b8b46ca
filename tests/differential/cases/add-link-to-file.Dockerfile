FROM scratch
ADD link /to/
