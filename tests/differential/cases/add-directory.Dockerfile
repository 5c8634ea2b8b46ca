FROM scratch
ADD dir /added
