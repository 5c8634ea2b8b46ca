FROM scratch
COPY dir /dst
COPY other /dst
