FROM scratch
ADD archives/plain.tar a.txt /out/
