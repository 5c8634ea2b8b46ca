FROM scratch
ADD archives/plain.tar /out
