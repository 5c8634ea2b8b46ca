FROM scratch
WORKDIR /w
ADD archives/plain.tar out
