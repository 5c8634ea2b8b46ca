FROM scratch
COPY dirlink /dst
