FROM scratch
COPY ["sp ace.txt", "/with space/"]
