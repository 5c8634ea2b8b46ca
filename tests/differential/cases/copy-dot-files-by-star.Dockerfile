FROM scratch
COPY dot/* /to/
