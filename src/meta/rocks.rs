//! The key-value store below the records: RocksDB, one column family a table.

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator, ErrorKind,
    Options, ReadOptions, ReadTier, WriteBatch, WriteOptions, properties,
};
use std::path::Path;

use crate::engine::{Batch, Cursor, Engine, EngineError, Table};
use crate::figures::{EngineFigures, TableFigures};

/// Replaying the log costs about 2 s for 60 MB of small records: this bounds a start after a crash.
const MAX_WAL_BYTES: u64 = 48 << 20;
const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Inline values fill their table faster than records fill theirs.
const INLINE_WRITE_BUFFER_BYTES: usize = 24 << 20;
const BLOOM_BITS_PER_KEY: f64 = 10.0;

#[derive(Debug, Clone)]
pub struct RocksOptions {
    /// Sync the log at every commit; otherwise it is only handed to the kernel.
    pub sync: bool,
    pub block_cache_bytes: usize,
}

pub struct Rocks {
    db: DB,
    write: WriteOptions,
}

impl Rocks {
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, EngineError> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let families = Table::ALL
            .iter()
            .map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(*table, &cache)));
        let db = DB::open_cf_descriptors(&database_options(), path, families).map_err(engine_error)?;
        let mut write = WriteOptions::default();
        write.set_sync(options.sync);
        Ok(Self { db, write })
    }

    fn family(&self, table: Table) -> &rocksdb::ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table was opened")
    }

    fn property(&self, table: Table, name: &properties::PropName) -> u64 {
        self.db.property_int_value_cf(self.family(table), name).ok().flatten().unwrap_or_default()
    }

    fn table_figures(&self, table: Table) -> TableFigures {
        TableFigures {
            name: table.name(),
            keys: self.property(table, properties::ESTIMATE_NUM_KEYS),
            memtable_bytes: self.property(table, properties::CUR_SIZE_ALL_MEM_TABLES),
            files_bytes: self.property(table, properties::TOTAL_SST_FILES_SIZE),
            pending_compaction_bytes: self.property(table, properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        }
    }

    fn log_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.db.path()).into_iter().flatten().flatten();
        let logs = entries.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "log"));
        logs.filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum()
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    // A recycled log needs no journal commit for its growth: half again as many syncs a second.
    options.set_recycle_log_file_num(4);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(3);
    options.set_max_log_file_size(4 << 20);
    options
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    blocks.set_format_version(6);
    blocks.set_block_size(8 << 10);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_level_compaction_dynamic_level_bytes(true);
    match table {
        // Users' bytes: mostly compressed already, and a copy saved on every read.
        Table::Inline => {
            options.set_compression_type(DBCompressionType::None);
            options.set_write_buffer_size(INLINE_WRITE_BUFFER_BYTES);
        }
        _ => {
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        }
    }
    options
}

fn engine_error(error: rocksdb::Error) -> EngineError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Incomplete => EngineError::NotCached,
        _ if text.contains("No space left") || text.contains("NoSpace") => EngineError::Full(text),
        _ => EngineError::Io(text),
    }
}

impl Engine for Rocks {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.db.get_cf(self.family(table), key).map_err(engine_error)
    }

    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let mut read = ReadOptions::default();
        read.set_read_tier(ReadTier::BlockCache);
        self.db.get_cf_opt(self.family(table), key, &read).map_err(engine_error)
    }

    fn cursor<'a>(&'a self, table: Table, to: Option<&[u8]>) -> Box<dyn Cursor + 'a> {
        let mut read = ReadOptions::default();
        if let Some(to) = to {
            read.set_iterate_upper_bound(to);
        }
        Box::new(RocksCursor(self.db.raw_iterator_cf_opt(self.family(table), read)))
    }

    fn write(&self, batch: Batch) -> Result<(), EngineError> {
        let mut writes = WriteBatch::default();
        for (table, from, to) in batch.delete_ranges {
            writes.delete_range_cf(self.family(table), from, to);
        }
        for (table, key, value) in batch.writes {
            match value {
                Some(value) => writes.put_cf(self.family(table), key, value),
                None => writes.delete_cf(self.family(table), key),
            }
        }
        self.db.write_opt(writes, &self.write).map_err(engine_error)
    }

    fn flush(&self) -> Result<(), EngineError> {
        for table in Table::ALL {
            self.db.flush_cf(self.family(table)).map_err(engine_error)?;
        }
        Ok(())
    }

    /// Tables are linked, not copied; what is in memory is written to tables first.
    fn checkpoint(&self, into: &Path) -> Result<(), EngineError> {
        let checkpoint = Checkpoint::new(&self.db).map_err(engine_error)?;
        checkpoint.create_checkpoint(into).map_err(engine_error)
    }

    fn figures(&self) -> EngineFigures {
        // These are the database's, whichever table is asked.
        let whole = |name| self.property(Table::System, name);
        EngineFigures {
            block_cache_bytes: whole(properties::BLOCK_CACHE_USAGE),
            block_cache_capacity_bytes: whole(properties::BLOCK_CACHE_CAPACITY),
            log_bytes: self.log_bytes(),
            running_compactions: whole(properties::NUM_RUNNING_COMPACTIONS),
            running_flushes: whole(properties::NUM_RUNNING_FLUSHES),
            background_errors: whole(properties::BACKGROUND_ERRORS),
            write_stopped: whole(properties::IS_WRITE_STOPPED) != 0,
            tables: Table::ALL.iter().map(|table| self.table_figures(*table)).collect(),
        }
    }
}

struct RocksCursor<'a>(DBRawIterator<'a>);

impl Cursor for RocksCursor<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.0.seek(key);
    }

    fn advance(&mut self) {
        self.0.next();
    }

    fn entry(&self) -> Result<Option<(&[u8], &[u8])>, EngineError> {
        match self.0.item() {
            Some(item) => Ok(Some(item)),
            None => self.0.status().map(|()| None).map_err(engine_error),
        }
    }
}
