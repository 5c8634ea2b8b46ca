FROM scratch
WORKDIR /deep/er
COPY a.txt here.txt
COPY b.txt ./
COPY dir sub/
