FROM scratch
WORKDIR /w
COPY . .
