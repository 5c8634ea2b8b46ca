FROM scratch
COPY a.txt /one/two/three/four
