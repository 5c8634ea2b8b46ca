FROM scratch
ADD a.txt b.txt dir /to/
