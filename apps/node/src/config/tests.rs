//! Which value counts, and what is said of a wrong one.
use super::*;

fn load(file: &str, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, ApiError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(CONFIG_FILE), file).unwrap();
    let sources = Sources {
        dir: Some(dir.path().to_path_buf()),
        config: None,
        flags: flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    };
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    let read = |name: &str| env.get(name).map(|value| (*value).to_owned());
    Config::load_with(&sources, |name| if name == "HOME" { Some("/home/a".into()) } else { read(name) })
}

fn origin(config: &Config, name: &str) -> String {
    config.settings().iter().find(|setting| setting.name == name).unwrap().origin.to_string()
}

#[test]
fn defaults_are_a_regtest_node_with_its_own_chain() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.network, Network::Regtest);
    assert!(matches!(config.chain, ChainConfig::Own { .. }));
    assert_eq!(config.data_dir, config.dir.join("regtest"));
    assert_eq!(config.listen, [SocketAddr::from(([0, 0, 0, 0], 9735))]);
    assert!(config.announce.is_empty());
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "alias = 'file'\ncolor = '112233'\n[fees]\nbase_msat = 7\n";
    let env = [("LNODE_ALIAS", "environment"), ("LNODE_COLOR", "445566")];
    let config = load(file, &env, &[("alias", "flag")]).unwrap();
    assert_eq!(config.alias, "flag");
    assert_eq!(config.color, [0x44, 0x55, 0x66]);
    assert_eq!(config.user.channel.fee_base, Msat::new(7));
    assert_eq!(origin(&config, "alias"), "flag --alias");
    assert_eq!(origin(&config, "color"), "environment LNODE_COLOR");
    assert!(origin(&config, "fees.base_msat").ends_with("config.toml line 4"));
    assert_eq!(origin(&config, "network"), "default");
}

#[test]
fn lists_are_read_from_all_places() {
    let config = load("listen = ['127.0.0.1:1', ':2']\n", &[], &[]).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(load("listen = []\n", &[], &[]).unwrap().listen, []);
    assert_eq!(load("", &[], &[("listen", "none")]).unwrap().listen, []);
    let config = load("", &[("LNODE_ANNOUNCE", "203.0.113.5:9735, node.example.org:9736")], &[]).unwrap();
    let shown: Vec<_> = config.announce.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["203.0.113.5:9735", "node.example.org:9736"]);
}

#[test]
fn wrong_file_is_described_with_line_and_suggestion() {
    let cases = [
        ("\nlisen = '1'\n", "line 2: there is no setting \"lisen\"; did you mean listen?"),
        ("[chian]\nurl = 'a'\n", "line 1: there is no setting \"chian\""),
        ("[chain]\n\nulr = 'a'\n", "line 3: there is no setting \"chain.ulr\"; did you mean chain.url?"),
        ("base_msat = 1\n", "did you mean fees.base_msat?"),
        (
            "network = 'regtset'\n",
            "it must be one of regtest, signet, testnet, mainnet; did you mean regtest?",
        ),
        ("network = 3\n", "line 1: network must be a text in quotes, not integer"),
        ("[fees]\nbase_msat = '1'\n", "line 2: fees.base_msat must be a number without quotes, not string"),
        ("[fees]\nbase_msat = -1\n", "it must be a whole number from 0 to 10000000"),
        ("a = \n", "line 1: this is not TOML"),
        ("listen = 'here'\n", "such as 0.0.0.0:9735"),
        ("[api]\nlisten = '0.0.0.0:9740'\n", "loopback only"),
        ("color = 'blue'\n", "6 hexadecimal digits"),
        ("alias = 'a name that is much longer than it may be'\n", "at most 32 bytes"),
        ("[log]\nfilter = 'lnode=loud'\n", "write a level such as info"),
        ("network = 'signet'\n[chain]\nsource = 'embedded'\n", "the embedded chain is for regtest only"),
        ("[chain]\nsource = 'bitcoind'\nuser = 'a'\n", "chain.password is missing"),
        ("[channels]\nmin_sat = 30000\nmax_sat = 20000\n", "it must not be above channels.max_sat"),
    ];
    for (file, expected) in cases {
        let error = load(file, &[], &[]).unwrap_err();
        assert_eq!(error.code, Code::BadConfig, "{file}");
        assert!(error.to_string().contains(expected), "{file}\n{error}\n{expected}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn chain_is_found_in_its_usual_places() {
    let config = load("network = 'signet'\n", &[], &[]).unwrap();
    let cookie = Auth::Cookie("/home/a/.bitcoin/signet/.cookie".into());
    assert_eq!(config.chain, ChainConfig::Bitcoind { url: "127.0.0.1:38332".into(), auth: cookie });
    let config = load("", &[], &[("chain.url", "127.0.0.1:9743")]).unwrap();
    let cookie = Auth::Cookie(config.data_dir.join(CHAIN_COOKIE));
    assert_eq!(config.chain, ChainConfig::Served { url: "127.0.0.1:9743".into(), auth: cookie });
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let file = "[chain]\nsource = 'bitcoind'\nuser = 'a'\npassword = 'hunter2'\n";
    let config = load(file, &[], &[]).unwrap();
    let auth = Auth::Password { user: "a".into(), password: "hunter2".into() };
    assert_eq!(config.chain, ChainConfig::Bitcoind { url: "127.0.0.1:18443".into(), auth });
    assert!(!format!("{config:?}").contains("hunter2"));
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "from a file\n").unwrap();
    let file = file.replace("hunter2", &format!("file:{}", secret.path().display()));
    let ChainConfig::Bitcoind { auth: Auth::Password { password, .. }, .. } =
        load(&file, &[], &[]).unwrap().chain
    else {
        panic!("another chain")
    };
    assert_eq!(password, "from a file");
}

#[test]
fn table_is_consistent() {
    let names: std::collections::BTreeSet<_> = keys::KEYS.iter().map(keys::Key::env).collect();
    assert_eq!(names.len(), keys::KEYS.len(), "two settings share a name");
    for name in ["LNODE_DIR", "LNODE_CONFIG"] {
        assert!(!names.contains(name));
    }
}
