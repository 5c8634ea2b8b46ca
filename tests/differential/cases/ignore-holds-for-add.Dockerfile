FROM scratch
ADD dir /d
ADD archives/plain.tar /t/
