{-# LANGUAGE OverloadedStrings #-}
-- | An endpoint on Haskell's tls, which has a TLS of its own. Settings as in endpoint.h.
module Main (main) where

import Control.Concurrent (threadDelay)
import Control.Exception (SomeException, throwIO, try)
import Control.Monad (forM_, forever, unless, void, when)
import qualified Data.ByteString as B
import qualified Data.ByteString.Char8 as C
import Data.Default.Class (def)
import Data.IORef
import Data.Maybe (fromMaybe)
import Data.X509 (CertificateChain (..))
import qualified Data.X509 as X509
import Data.X509.CertificateStore (CertificateStore, listCertificates, readCertificateStore)
import Data.X509.Validation (FailedReason (..), checkFQHN, defaultChecks, defaultHooks, validate)
import Network.Socket
import Network.TLS
import Network.TLS.Extra.Cipher
import System.Environment (getArgs)
import System.IO
import System.Timeout (timeout)

type Settings = [(String, String)]

setting :: Settings -> String -> String -> String
setting own name otherwise_ = case lookup name own of
  Just value | not (null value) -> value
  _ -> otherwise_

isSet :: Settings -> String -> Bool
isSet own name = lookup name own == Just "1"

has :: Settings -> String -> Bool
has own name = setting own name "" /= ""

ciphers :: Settings -> [Cipher]
ciphers own = case setting own "ciphers" "" of
  "aes128" -> [cipher_TLS13_AES128GCM_SHA256, cipher_ECDHE_ECDSA_AES128GCM_SHA256]
  "aes256" -> [cipher_TLS13_AES256GCM_SHA384, cipher_ECDHE_ECDSA_AES256GCM_SHA384]
  "chacha" -> [cipher_TLS13_CHACHA20POLY1305_SHA256, cipher_ECDHE_ECDSA_CHACHA20POLY1305_SHA256]
  "cbc" -> [cipher_TLS13_AES128GCM_SHA256, cipher_ECDHE_ECDSA_AES128CBC_SHA]
  "ccm8" -> [cipher_TLS13_AES128GCM_SHA256, cipher_ECDHE_ECDSA_AES128CCM8_SHA256]
  _ -> if setting own "min" "1.2" < "1.2" then ciphersuite_all else ciphersuite_default

supported :: Settings -> Supported
supported own = def
  { supportedVersions = [version | (name, version) <- [("1.3", TLS13), ("1.2", TLS12), ("1.1", TLS11), ("1.0", TLS10)]
                                 , name >= setting own "min" "1.2", name <= setting own "max" "1.3"]
  , supportedCiphers = ciphers own
  , supportedGroups = case setting own "groups" "" of
      "P-256" -> [P256]
      "P-384" -> [P384]
      _ -> [X25519, P256, P384]
  }

debugging :: Settings -> DebugParams
debugging own = def {debugKeyLogger = if has own "keylog" then \line -> appendFile (setting own "keylog" "") (line ++ "\n") else const (pure ())}

credential :: Settings -> IO (Maybe Credential)
credential own
  | has own "cert" = either fail (pure . Just) =<< credentialLoadX509 (setting own "cert" "") (setting own "key" "")
  | otherwise = pure Nothing

authorities :: Settings -> IO CertificateStore
authorities own
  | has own "ca" = fromMaybe mempty <$> readCertificateStore (setting own "ca" "")
  | otherwise = pure mempty

-- | Sessions are kept in memory, by the server and by the client.
remembering :: IORef [(SessionID, SessionData)] -> SessionManager
remembering kept = noSessionManager
  { sessionResume = \name -> lookup name <$> readIORef kept
  , sessionResumeOnlyOnce = \name -> lookup name <$> readIORef kept
  , sessionEstablish = \name held -> modifyIORef kept ((name, held) :)
  }

clientParams :: Settings -> IORef [(SessionID, SessionData)] -> IO ClientParams
clientParams own kept = do
  mine <- credential own
  store <- authorities own
  before <- readIORef kept
  let name = setting own "sni" "lab.example"
  pure (defaultParamsClient name "")
    { clientSupported = supported own
    , clientDebug = debugging own
    , clientUseServerNameIndication = True
    , clientWantSessionResume = case before of { [] -> Nothing; newest : _ -> Just newest }
    , clientShared = def {sharedCAStore = store, sharedSessionManager = remembering kept}
    , clientHooks = def
        { onCertificateRequest = const (pure mine)
        , onSuggestALPN = pure (if has own "alpn" then Just [C.pack (setting own "alpn" "")] else Nothing)
        }
    }

serverParams :: Settings -> IORef [(SessionID, SessionData)] -> IO ServerParams
serverParams own kept = do
  mine <- credential own
  store <- authorities own
  let auth = setting own "auth" "none"
      accepted chain@(CertificateChain certificates)
        | null certificates = pure (if auth == "require" then CertificateUsageReject (CertificateRejectOther "no certificate") else CertificateUsageAccept)
        | otherwise = judged <$> validate X509.HashSHA256 defaultHooks defaultChecks {checkFQHN = False} store def ("", "") chain
      judged wrong
        | null wrong = CertificateUsageAccept
        | any (`elem` wrong) [UnknownCA, SelfSigned] = CertificateUsageReject CertificateRejectUnknownCA
        | Expired `elem` wrong = CertificateUsageReject CertificateRejectExpired
        | otherwise = CertificateUsageReject (CertificateRejectOther (show wrong))
      refuse _ = case setting own "alert" "" of
        "internal_error" -> throwIO (Error_Protocol ("refused", True, InternalError))
        "unrecognized_name" -> throwIO (Error_Protocol ("refused", True, UnrecognizedName))
        "user_canceled" -> throwIO (Error_Protocol ("refused", True, UserCanceled))
        _ -> pure mempty
      choose offered = pure (if C.pack (setting own "alpn" "") `elem` offered then C.pack (setting own "alpn" "") else B.empty)
  pure def
    { serverSupported = supported own
    , serverDebug = debugging own
    , serverWantClientCert = auth /= "none"
    , serverCACertificates = listCertificates store
    , serverShared = def {sharedCredentials = Credentials (maybe [] pure mine), sharedCAStore = store, sharedSessionManager = remembering kept}
    , serverHooks = def
        { onClientCertificate = accepted
        , onUnverifiedClientCert = pure False
        , onServerNameIndication = refuse
        , onALPNClientSuggest = if has own "alpn" then Just choose else Nothing
        }
    }

talk :: Settings -> Bool -> Context -> IORef Int -> IO ()
talk own isClient tls got
  | isClient = unless (isSet own "leave") $ do
      when (isSet own "first") (void receive)
      sendData tls "GET / HTTP/1.0\r\nHost: lab\r\n\r\n"
      untilEnd
  | otherwise = do
      when (isSet own "first") (sendData tls "220 lab ready\r\n")
      size <- receive
      when (size > 0) (sendData tls "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
  where
    receive = do
      piece <- recvData tls
      modifyIORef got (+ B.length piece)
      pure (B.length piece)
    untilEnd = receive >>= \size -> when (size > 0) untilEnd

field :: String -> String -> String
field name value = ", \"" ++ name ++ "\": \"" ++ concatMap plainly value ++ "\""
  where
    plainly :: Char -> String
    plainly letter = case letter of { '"' -> "'"; '\\' -> ""; '\n' -> " "; _ -> [letter] }

converse :: TLSParams params => Settings -> params -> Bool -> Socket -> Int -> IO ()
converse own parameters isClient plain peer = do
  setSocketOption plain NoDelay 1
  done <- newIORef False
  got <- newIORef 0
  version <- newIORef Nothing
  tls <- contextNew plain parameters
  ended <- try $ timeout (1000000 * read (setting own "wait" "8")) $ do
    handshake tls
    writeIORef done True
    writeIORef version . fmap infoVersion =<< contextGetInformation tls
    talk own isClient tls got
    bye tls
  close plain
  isDone <- readIORef done
  total <- readIORef got
  agreed <- readIORef version
  let text = case ended :: Either SomeException (Maybe ()) of
        Left problem -> field "error" (show problem)
        Right Nothing -> field "error" "timed out"
        Right (Just ()) -> ""
  putStrLn ("{\"peer\": " ++ show peer ++ ", \"done\": " ++ (if isDone then "true" else "false") ++ ", \"got\": " ++ show total
            ++ maybe "" (field "version" . show) agreed ++ text ++ "}")

localhost :: Int -> SockAddr
localhost port = SockAddrInet (fromIntegral port) (tupleToHostAddress (127, 0, 0, 1))

bound :: Int -> IO Socket
bound port = do
  made <- socket AF_INET Stream defaultProtocol
  setSocketOption made ReuseAddr 1
  bind made (localhost port)
  pure made

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  own <- map (fmap (drop 1) . break (== '=')) <$> getArgs
  kept <- newIORef []
  let port = read (setting own "port" "0") :: Int
      local = read (setting own "local" "0") :: Int
  if setting own "role" "" == "client"
    then forM_ [0 .. if isSet own "again" then 1 else 0] $ \turn -> do
      parameters <- clientParams own kept
      plain <- bound (local + turn)
      connect plain (localhost port)
      converse own parameters True plain (local + turn)
      threadDelay 5000
    else do
      parameters <- serverParams own kept
      listener <- bound port
      listen listener 16
      forever $ do
        (plain, peer) <- accept listener
        case peer of
          SockAddrInet from _ -> converse own parameters False plain (fromIntegral from)
          _ -> close plain
