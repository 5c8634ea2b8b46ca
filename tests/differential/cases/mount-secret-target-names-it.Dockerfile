FROM diff-base
RUN --mount=type=secret,target=/root/token cat /root/token > /seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
