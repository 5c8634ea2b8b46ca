FROM scratch
WORKDIR /with space/x
