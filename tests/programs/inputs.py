import random, sys
r = random.Random(7)
words = ["".join(r.choice("abcdefghijklmnop") for _ in range(r.randint(2, 9))) for _ in range(3000)]
with open(sys.argv[1] + "/lines", "w") as f:
    for i in range(300000):
        f.write("%s %d %s\n" % (r.choice(words), r.randrange(10**6), r.choice(words)))
with open(sys.argv[1] + "/sql", "w") as f:
    f.write("begin;create table t(id integer primary key, w text, n integer);\n")
    for i in range(30000):
        f.write("insert into t(w, n) values('%s', %d);\n" % (r.choice(words), r.randrange(1000)))
    f.write("""commit;create index i on t(w, n);
select count(*), sum(n), min(w), max(w) from t;
select w, count(*) c, avg(n) from t group by w order by c desc, w limit 20;
update t set n = n + 1 where id % 3 = 0;delete from t where id % 7 = 0;
select a.w, b.n from t a join t b on a.w = b.w and a.id < b.id order by 1, 2 limit 30;
with recursive c(x) as (select 1 union all select x + 1 from c where x < 100000) select sum(x) from c;
pragma integrity_check;vacuum;select count(distinct w) from t;
""")
