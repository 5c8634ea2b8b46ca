insert into pots values ('bowl'), ('jug'), ('vase');
