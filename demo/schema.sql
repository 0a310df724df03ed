-- The database of the shop as release 1 of the application knows it, with some years of orders in it.
-- `ref` is the number that a client gave its order. It is not UNIQUE on purpose: an order that comes twice shall be seen.

PRAGMA journal_mode = WAL;

BEGIN;

CREATE TABLE orders (
    id        INTEGER PRIMARY KEY,
    ref       TEXT NOT NULL,
    customer  TEXT NOT NULL,
    amount    REAL NOT NULL,
    placed_at TEXT NOT NULL
);

INSERT INTO orders (ref, customer, amount, placed_at)
WITH RECURSIVE past (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM past WHERE n < 800000)
SELECT 'past-' || n, 'Customer ' || (n * 7919 % 20011), n % 9973 / 100.0,
       datetime('2025-01-01', (n * 60) || ' seconds')
FROM past;

PRAGMA user_version = 1;

COMMIT;
