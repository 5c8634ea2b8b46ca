<?php
header('Content-Type: text/plain');
printf("php %d as %s, limit %s\n", PHP_MAJOR_VERSION, posix_getpwuid(posix_geteuid())['name'], ini_get('memory_limit'));
