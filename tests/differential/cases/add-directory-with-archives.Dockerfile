FROM scratch
ADD archives /archives
