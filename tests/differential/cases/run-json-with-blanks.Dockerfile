FROM diff-base
RUN  [ "/bin/busybox" ,  "touch" , "/f" ]  
