FROM diff-base
RUN mkdir -p /thing/inside && echo x > /thing/inside/x
RUN rm -r /thing && echo file > /thing
RUN rm /thing && mkdir /thing && echo again > /thing/other
